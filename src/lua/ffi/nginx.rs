//! nginx's own functions that libraries call by LuaJIT's ffi: lua-resty-string names these.

use std::ffi::c_uchar;

/// Writes the bytes at `source` in hexadecimal, lower case, to `target`; gives what follows there.
///
/// # Safety
/// `length` bytes can be read at `source`, twice as many written at `target`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_hex_dump(
    target: *mut c_uchar,
    source: *const c_uchar,
    length: usize,
) -> *mut c_uchar {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // SAFETY: the caller's promise; each byte is read before its two digits are written, and those
    // of a byte never reach one that is still to be read unless the caller let them overlap.
    unsafe {
        for index in 0..length {
            let byte = source.add(index).read();
            target.add(2 * index).write(DIGITS[usize::from(byte >> 4)]);
            target.add(2 * index + 1).write(DIGITS[usize::from(byte & 15)]);
        }
        target.add(2 * length)
    }
}

/// The decimal number in `length` bytes at `line`; -1 when they are none, or too great a one.
///
/// # Safety
/// So many bytes can be read there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_atoi(line: *const c_uchar, length: usize) -> isize {
    if length == 0 {
        return -1;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { std::slice::from_raw_parts(line, length) };
    let mut value = 0isize;
    for byte in text {
        let digit = if byte.is_ascii_digit() { isize::from(byte - b'0') } else { return -1 };
        let Some(next) = value.checked_mul(10).and_then(|it| it.checked_add(digit)) else {
            return -1;
        };
        value = next;
    }
    value
}

#[cfg(test)]
mod tests {
    use crate::lua::fixture::eval;

    #[test]
    fn lua_finds_them_by_name() {
        let code = "local ffi = require('ffi') ffi.cdef[[
            unsigned char *ngx_hex_dump(unsigned char *, const unsigned char *, size_t);
            intptr_t ngx_atoi(const unsigned char *, size_t); ]]
            local room = ffi.new('unsigned char[6]')
            ffi.C.ngx_hex_dump(room, 'a\\255\\0', 3)
            local function number(text) return tonumber(ffi.C.ngx_atoi(text, #text)) end
            return ffi.string(room, 6), number('4711'), number(''), number('1x'),
                number('99999999999999999999')";
        assert_eq!(eval(code), "61ff00 | 4711 | -1 | -1 | -1");
    }
}
