//! Names of variables, resolved once a VM: a Lua string is interned, so that its address tells
//! which it is for as long as it is kept alive.

use crate::lua::ffi::call::Call;
use crate::lua::ffi::stack::Anchor;
use crate::request::Request;
use crate::vars::Var;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::rc::Rc;
use std::sync::Arc;

/// Names remembered at most: a script may compose names without end.
const MAX_NAMES: usize = 1024;

/// A name in a configuration.
#[derive(Debug)]
pub struct Name {
    /// In lower case.
    pub text: Box<[u8]>,
    /// What it denotes; `None` is unknown.
    pub var: Option<Var>,
}

/// Names by the address of the Lua string.
#[derive(Debug, Default)]
pub struct NameMemo {
    names: RefCell<HashMap<usize, Rc<Name>, BuildHasherDefault<AddressHasher>>>,
    kept: RefCell<Vec<Anchor>>,
    /// Which snapshot they were resolved in.
    snapshot: Cell<usize>,
}

impl NameMemo {
    /// The name in slot `index`, which holds a string.
    pub fn resolve(&self, call: &Call<'_>, index: c_int, request: &Request) -> Rc<Name> {
        let snapshot = Arc::as_ptr(&request.snapshot) as usize;
        if self.snapshot.get() != snapshot {
            self.forget(call);
            self.snapshot.set(snapshot);
        }
        let stack = call.stack();
        let address = stack.address(index);
        if let Some(name) = self.names.borrow().get(&address) {
            return Rc::clone(name);
        }
        let text = stack.string(index).unwrap_or_default().to_ascii_lowercase();
        let var = request.snapshot.names.resolve(&text);
        // A capture has no name for scripts: `ngx.var[1]`, not `ngx.var["1"]`.
        let var = var.filter(|it| !matches!(it, Var::Capture(_)));
        let name = Rc::new(Name { text: text.into(), var });
        if self.names.borrow().len() < MAX_NAMES {
            stack.push_copy(index);
            self.kept.borrow_mut().push(stack.anchor());
            self.names.borrow_mut().insert(address, Rc::clone(&name));
        }
        name
    }

    /// The name whose string is at `address`, if it was resolved before.
    pub fn known(&self, address: usize, request: &Request) -> Option<Rc<Name>> {
        if self.snapshot.get() != Arc::as_ptr(&request.snapshot) as usize {
            return None;
        }
        self.names.borrow().get(&address).map(Rc::clone)
    }

    fn forget(&self, call: &Call<'_>) {
        self.names.borrow_mut().clear();
        while let Some(anchor) = self.kept.borrow_mut().pop() {
            call.stack().release(anchor);
        }
    }
}

/// Hashes one address.
#[derive(Debug, Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing: the table looks at the lowest and the seven highest bits.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
