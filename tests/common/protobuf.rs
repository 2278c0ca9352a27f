// SPDX-License-Identifier: Apache-2.0
//! Changes one field of a real image of CRIU's, and leaves all others as they are, known or not.

/// Sets a field in an entry: `path` leads through messages to it, from field number to field number.
pub fn with_field(message: &[u8], path: &[u32], value: &Value) -> Vec<u8> {
    let (&field, below) = path.split_first().expect("a field");
    if below.is_empty() {
        // Of two the last one counts.
        return [message, &value.encoded(field)].concat();
    }
    let mut all = Vec::new();
    let mut found = false;
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let key = varint(&mut rest);
        let content = match key & 7 {
            0 => {
                varint(&mut rest);
                None
            }
            1 => {
                rest = &rest[8..];
                None
            }
            2 => {
                let size = usize::try_from(varint(&mut rest)).unwrap();
                let (content, after) = rest.split_at(size);
                rest = after;
                Some(content)
            }
            5 => {
                rest = &rest[4..];
                None
            }
            other => panic!("wire type {other}"),
        };
        match content.filter(|_| key >> 3 == u64::from(field)) {
            Some(content) => {
                found = true;
                all.extend(Value::Bytes(with_field(content, below, value)).encoded(field));
            }
            None => all.extend(&start[..start.len() - rest.len()]),
        }
    }
    if !found {
        all.extend(Value::Bytes(with_field(&[], below, value)).encoded(field));
    }
    all
}

/// The value of a field.
pub enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Value {
    fn encoded(&self, field: u32) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Number(number) => {
                put(u64::from(field) << 3, &mut out);
                put(*number, &mut out);
            }
            Self::Bytes(bytes) => {
                put(u64::from(field) << 3 | 2, &mut out);
                put(bytes.len() as u64, &mut out);
                out.extend(bytes);
            }
        }
        out
    }
}

/// Changes the first entry of an image, which begins after this many bytes of magic numbers; adds one if there is none.
pub fn change_first(image: &[u8], magic: usize, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (start, rest) = image.split_at(magic);
    let (entry, rest) = match rest.split_first_chunk::<4>() {
        Some((size, rest)) => rest.split_at(u32::from_le_bytes(*size) as usize),
        None => (rest, rest),
    };
    let entry = change(entry);
    let size = u32::try_from(entry.len()).unwrap().to_le_bytes();
    [start, &size, &entry, rest].concat()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            break;
        }
        out.push(low | 0x80);
    }
}
