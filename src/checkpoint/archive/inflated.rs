// SPDX-License-Identifier: Apache-2.0
//! What comes out of a compressed archive, as far as it is worth looking at: a few megabytes inflate to
//! gigabytes of zeros, and all of them would have to be gone through.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

/// Bytes that may come out of any archive.
const FREE: u64 = 256 << 20;
/// And how many for each byte that went in: what a process has in memory seldom shrinks to less than a
/// tenth, zeros to a thousandth.
const TIMES: u64 = 50;
/// The widest window of a Zstandard frame, as a power of two: 16 MiB are held while it is unpacked.
/// Podman's frames have 8 MiB, those of `zstd -19` too; more takes `zstd --ultra` or `--long`.
const WINDOW: u32 = 24;
/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// A decoder's output.
pub(super) struct Inflated<D> {
    decoder: D,
    produced: u64,
    read: Rc<Cell<u64>>,
}

/// What goes into the decoder, counted.
pub(super) struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

/// Unpacks gzip (RFC 1952), of any number of members.
pub(super) fn gzip(file: File) -> impl Read {
    let (input, read) = counted(file);
    Inflated {
        decoder: flate2::bufread::MultiGzDecoder::new(input),
        produced: 0,
        read,
    }
}

/// Unpacks Zstandard (RFC 8878), of any number of frames.
pub(super) fn zstandard(file: File) -> io::Result<impl Read> {
    let (input, read) = counted(file);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW)?;
    Ok(Inflated {
        decoder,
        produced: 0,
        read,
    })
}

fn counted(file: File) -> (BufReader<Counted>, Rc<Cell<u64>>) {
    let read = Rc::new(Cell::new(0));
    let counted = Counted {
        file,
        read: Rc::clone(&read),
    };
    (BufReader::with_capacity(BUFFER, counted), read)
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        // The same number of bits as a file's size.
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

impl<D: Read> Read for Inflated<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer).map_err(told)?;
        self.produced += read as u64;
        if self.produced > FREE + TIMES * self.read.get() {
            return Err(io::Error::other(format!(
                "its first {} bytes are more than {} MiB unpacked, and more than {TIMES} times as \
                 many: unpack it, and name the directory",
                self.read.get(),
                FREE >> 20
            )));
        }
        Ok(read)
    }
}

/// libzstd has only words for its errors, and these don't say what to do.
fn told(error: io::Error) -> io::Error {
    if error.to_string().contains("too much memory") {
        return io::Error::other(format!(
            "Zstandard with a window of more than {} MiB: unpack it, and name the directory",
            (1_u64 << WINDOW) >> 20
        ));
    }
    error
}
