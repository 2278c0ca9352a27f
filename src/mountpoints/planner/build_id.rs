// SPDX-License-Identifier: Apache-2.0
//! The build ID of a program or library, as CRIU finds it (CRIU criu/files-reg.c, `get_build_id`): the first note of
//! its type in the first MiB, whoever wrote it. What is no ELF file, or has no such note, has none; then CRIU
//! compares nothing.

use std::fs::File;
use std::io::Read;

/// How much of the file CRIU looks at, in bytes.
const LOOKED_AT: u64 = 1 << 20;
/// How many headers and notes are looked at: a hostile file can have all of them again and again.
const MOST: usize = 1 << 16;
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
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    Elf {
        bytes: &bytes,
        left: MOST,
    }
    .build_id()
}

struct Elf<'a> {
    /// What CRIU looks at.
    bytes: &'a [u8],
    /// How many headers and notes may still be looked at.
    left: usize,
}

impl Elf<'_> {
    fn build_id(&mut self) -> Option<Vec<u8>> {
        if self.at(0, 4)? != b"\x7fELF" {
            return None;
        }
        let class = match self.at(4, 1)? {
            [1] => ELF32,
            [2] => ELF64,
            _ => return None,
        };
        let headers = self.number(class.headers, class.word)?;
        for number in 0..self.number(class.count, 2)? {
            self.take_one()?;
            let header = headers.checked_add(number * class.header)?;
            self.at(header, class.header)?;
            if self.number(header, 4)? != u64::from(NOTES) {
                continue;
            }
            let notes = self.number(header + class.offset, class.word)?;
            let size = self.number(header + class.size, class.word)?;
            if notes == 0 {
                continue;
            }
            if let Some(note) = self.find(notes, notes.checked_add(size)?) {
                return self.content(note);
            }
        }
        None
    }

    /// The first build ID between two places; the first one counts, whatever it is.
    fn find(&mut self, mut note: u64, last: u64) -> Option<u64> {
        let end = u64::try_from(self.bytes.len()).ok()?;
        let last = last.min(end.checked_sub(NOTE_HEADER)?);
        while note <= last {
            self.take_one()?;
            if self.number(note + 8, 4)? == u64::from(BUILD_ID) {
                return Some(note);
            }
            let (name, size) = (self.number(note, 4)?, self.number(note + 4, 4)?);
            note += NOTE_HEADER + aligned(name) + aligned(size);
        }
        None
    }

    fn content(&self, note: u64) -> Option<Vec<u8>> {
        let (name, size) = (self.number(note, 4)?, self.number(note + 4, 4)?);
        if !(1..=LONGEST).contains(&size) {
            return None;
        }
        let content = self.at(note + NOTE_HEADER + aligned(name), size)?;
        Some(content.to_owned())
    }

    fn take_one(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }

    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let bytes = self.at(at, size)?;
        let mut word = [0; 8];
        // In the host's order, as CRIU reads it: a file of another one has no build ID.
        word.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(word)).filter(|_| cfg!(target_endian = "little"))
    }

    fn at(&self, at: u64, size: u64) -> Option<&[u8]> {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        self.bytes.get(start..end)
    }
}

/// Rounded up to a multiple of four.
fn aligned(size: u64) -> u64 {
    size.div_ceil(4) * 4
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// The build ID of a file with these bytes.
    fn of(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
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

    /// Sixty thousand headers that all lead to sixty thousand notes.
    #[test]
    fn a_program_of_notes_alone_takes_no_time() {
        let mut elf = vec![0; 1 << 20];
        elf[..5].copy_from_slice(b"\x7fELF\x01");
        elf[28..32].copy_from_slice(&64_u32.to_le_bytes());
        elf[44..46].copy_from_slice(&u16::MAX.to_le_bytes());
        for header in elf[64..1 << 19].chunks_exact_mut(32) {
            header[..4].copy_from_slice(&NOTES.to_le_bytes());
            header[4..8].copy_from_slice(&(1_u32 << 19).to_le_bytes());
            header[16..20].copy_from_slice(&(1_u32 << 19).to_le_bytes());
        }
        let start = std::time::Instant::now();
        assert_eq!(of(&elf), None);
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
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
