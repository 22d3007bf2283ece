//! Walks and writes of tables that leave the stack as they found it, so that tables of any length
//! pass through few slots.

use crate::lua::ffi::raw;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Push;
use crate::lua::ffi::value::Value;
use std::ffi::c_int;

impl<'a> Table<'a> {
    /// Calls `visit(n, table[n])` for 1 to `count`, until it says `false`.
    pub fn each_index(
        &self,
        count: usize,
        mut visit: impl for<'v> FnMut(usize, Value<'v>) -> bool,
    ) {
        let stack = self.stack();
        stack.push_nil();
        let slot = stack.top();
        for n in 1..=count {
            self.get(n as f64);
            stack.replace(slot);
            if !visit(n, stack.value(slot)) {
                break;
            }
        }
        stack.drop_own(slot);
    }

    /// The greatest index of an array, holes included; `None` when there is any other key.
    pub fn greatest_index(&self) -> Option<usize> {
        let below = self.stack().top();
        let mut greatest = Some(0);
        self.each(|key, _| {
            greatest = match (key, greatest) {
                (Value::Number(n), Some(before)) if n >= 1.0 && n.floor() == n => {
                    Some(before.max(n as usize))
                }
                _ => None,
            };
            greatest.is_some()
        });
        self.stack().drop_above(below);
        greatest
    }

    /// Adds `value`, no table, under `key`: a second one makes an array of both, further ones
    /// extend it.
    pub fn add(&self, key: &[u8], value: impl Push) {
        let stack = self.stack();
        let below = stack.top();
        match self.get(key) {
            Value::Nil | Value::Boolean(false) => self.set(key, value),
            Value::Table(several) => several.set_index(several.len() + 1, value),
            _ => {
                let several = stack.new_table(4, 0);
                several.set_index(1, crate::lua::ffi::value::Slot(below + 1));
                several.set_index(2, value);
                self.set(key, &several);
            }
        }
        stack.drop_above(below);
    }

    /// Drops all entries.
    pub fn clear(&self) {
        let stack = self.stack();
        let below = stack.top();
        stack.push_nil();
        let key = stack.top();
        loop {
            stack.push_copy(key);
            // SAFETY: a table is at its index; the key came from it, or is nil to begin with; a C
            // function has slots to spare.
            if unsafe { raw::lua_next(stack.raw(), self.index()) } == 0 {
                break;
            }
            stack.drop_above(key + 1);
            stack.replace(key);
            stack.push_copy(key);
            stack.push_nil();
            // SAFETY: a key of the table and nil are on top; a walk bears that fields go.
            unsafe { raw::lua_rawset(stack.raw(), self.index()) };
        }
        stack.drop_above(below);
    }
}

impl Stack<'_> {
    /// Appends `number` as Lua's `tostring` spells it.
    pub fn append_number(&self, number: f64, out: &mut Vec<u8>) {
        if number == 0.0 {
            return out.push(b'0');
        }
        self.push_number(number);
        let slot = self.top();
        out.extend_from_slice(self.text(slot).unwrap_or_default());
        self.drop_own(slot);
    }

    /// Pops `slot` if it is the topmost: what is above it belongs to somebody else.
    fn drop_own(&self, slot: c_int) {
        if self.top() == slot {
            self.drop_above(slot - 1);
        }
    }

    /// Pops what this module pushed above `below`; nothing of it was handed out.
    fn drop_above(&self, below: c_int) {
        // SAFETY: the callers took `below` from this stack and lent out what is above it only for
        // the time of a callback.
        unsafe { raw::lua_settop(self.raw(), below) }
    }
}
