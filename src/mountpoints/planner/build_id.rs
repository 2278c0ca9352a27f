// SPDX-License-Identifier: Apache-2.0
//! The build ID of a program or library, as CRIU finds it (CRIU criu/files-reg.c, `get_build_id`): the first note of
//! its type in the first MiB, whoever wrote it. What is no ELF file, or has no such note, has none; then CRIU
//! compares nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much of the file CRIU looks at, in bytes.
const LOOKED_AT: u64 = 1 << 20;
/// `NT_GNU_BUILD_ID` (elf(5)).
const BUILD_ID: u32 = 3;
/// `PT_NOTE` (elf(5)).
const NOTES: u32 = 4;
/// The header of a note: the sizes of its name and its content, and its type.
const NOTE_HEADER: u64 = 12;
/// Maximum bytes of a build ID.
const LONGEST: u64 = 512;

/// Where things are in an ELF file of one class (elf(5)).
struct Class {
    /// Bytes of an offset.
    word: u64,
    /// Of the program headers' offset in the ELF header, and of their number.
    headers: u64,
    count: u64,
    /// Bytes of a program header; in it the offset of the segment, and its size in the file.
    header: u64,
    offset: u64,
    size: u64,
}

const ELF32: Class = Class {
    word: 4,
    headers: 28,
    count: 44,
    header: 32,
    offset: 4,
    size: 16,
};
const ELF64: Class = Class {
    word: 8,
    headers: 32,
    count: 56,
    header: 56,
    offset: 8,
    size: 32,
};

/// The build ID of an open file.
pub(super) fn build_id(file: &File) -> Option<Vec<u8>> {
    let end = file.metadata().ok()?.len().min(LOOKED_AT);
    let elf = Elf { file, end };
    if elf.bytes(0, 4)? != b"\x7fELF" {
        return None;
    }
    let class = match elf.bytes(4, 1)?.as_slice() {
        [1] => ELF32,
        [2] => ELF64,
        _ => return None,
    };
    let headers = elf.number(class.headers, class.word)?;
    for number in 0..elf.number(class.count, 2)? {
        let header = headers.checked_add(number * class.header)?;
        if header.checked_add(class.header)? > end {
            return None;
        }
        if elf.number(header, 4)? != u64::from(NOTES) {
            continue;
        }
        let notes = elf.number(header + class.offset, class.word)?;
        let size = elf.number(header + class.size, class.word)?;
        if notes > 0 {
            if let Some(found) = elf.in_notes(notes, notes.checked_add(size)?) {
                return Some(found);
            }
        }
    }
    None
}

struct Elf<'a> {
    file: &'a File,
    /// Where CRIU's look ends.
    end: u64,
}

impl Elf<'_> {
    fn in_notes(&self, mut note: u64, last: u64) -> Option<Vec<u8>> {
        let last = last.min(self.end.checked_sub(NOTE_HEADER)?);
        while note <= last {
            let name = aligned(self.number(note, 4)?);
            let size = self.number(note + 4, 4)?;
            let content = note + NOTE_HEADER + name;
            if self.number(note + 8, 4)? == u64::from(BUILD_ID) {
                let fits = (1..=LONGEST).contains(&size) && content + size <= self.end;
                return fits.then(|| self.bytes(content, size)).flatten();
            }
            note = content + aligned(size);
        }
        None
    }

    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let bytes = self.bytes(at, size)?;
        let mut word = [0; 8];
        // In the host's order, as CRIU reads it: a file of another one has no build ID.
        word.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(u64::from_le_bytes(word)).filter(|_| cfg!(target_endian = "little"))
    }

    fn bytes(&self, at: u64, size: u64) -> Option<Vec<u8>> {
        if at.checked_add(size)? > self.end {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

/// Rounded up to a multiple of four.
fn aligned(size: u64) -> u64 {
    size.div_ceil(4) * 4
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The build ID of a file with these bytes.
    fn of(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        build_id(&file)
    }

    /// A program of 64 bits with one segment of notes: one that is no build ID, and one that is.
    fn program(id: &[u8]) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        elf[32..40].copy_from_slice(&64_u64.to_le_bytes());
        elf[56..58].copy_from_slice(&1_u16.to_le_bytes());
        elf[64..68].copy_from_slice(&NOTES.to_le_bytes());
        elf[72..80].copy_from_slice(&120_u64.to_le_bytes());
        let mut notes = Vec::new();
        for (kind, content) in [(1_u32, &b"other"[..]), (BUILD_ID, id)] {
            for word in [4, u32::try_from(content.len()).unwrap(), kind] {
                notes.extend(word.to_le_bytes());
            }
            notes.extend(b"GNU\0");
            notes.extend(content);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        elf[96..104].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        elf.extend(notes);
        elf
    }

    #[test]
    fn a_build_id_is_found_among_the_notes() {
        for id in [&b"x"[..], &[7; 20], &[9; 512]] {
            assert_eq!(of(&program(id)).as_deref(), Some(id));
        }
        for bad in [
            &program(&[])[..],
            &program(&[9; 513]),
            b"",
            b"\x7fELF",
            b"#!/bin/sh\n",
        ] {
            assert_eq!(of(bad), None);
        }
    }

    #[test]
    fn a_damaged_program_has_no_build_id_or_another() {
        let good = program(&[7; 20]);
        for length in 0..good.len() {
            let _ = of(&good[..length]);
        }
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = of(&bad);
            }
        }
    }
}
