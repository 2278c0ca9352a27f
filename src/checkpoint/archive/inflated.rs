// SPDX-License-Identifier: Apache-2.0
//! Decompression with a limit on the output: a few megabytes can inflate to gigabytes of zeros, and premount
//! would have to read through all of them.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

/// Output that any archive may have, in bytes.
const FREE: u64 = 256 << 20;
/// Output allowed beyond that, in bytes per byte of input: process memory seldom compresses to less than a
/// tenth, zeros compress to a thousandth.
const MAX_RATIO: u64 = 50;
/// The largest window of a Zstandard frame, as a power of two: decompressing holds 16 MiB. Podman and
/// `zstd -19` use 8 MiB; larger ones need `zstd --ultra` or `--long`.
const WINDOW: u32 = 24;
/// Bytes per read.
const BUFFER: usize = 64 << 10;

/// The output of a decoder, with its limit.
pub(super) struct Inflated<D> {
    decoder: D,
    produced: u64,
    read: Rc<Cell<u64>>,
}

/// The input of a decoder, counted.
pub(super) struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

/// Decompresses gzip (RFC 1952) with any number of members.
pub(super) fn gzip(file: File) -> impl Read {
    let (input, read) = counted(file);
    Inflated {
        decoder: flate2::bufread::MultiGzDecoder::new(input),
        produced: 0,
        read,
    }
}

/// Decompresses Zstandard (RFC 8878) with any number of frames.
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
        // Can't overflow: a file's size fits, too.
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

impl<D: Read> Read for Inflated<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer).map_err(with_remedy)?;
        self.produced += read as u64;
        if self.produced > FREE + MAX_RATIO * self.read.get() {
            return Err(io::Error::other(format!(
                "its first {} bytes unpack to more than {} MiB and more than {MAX_RATIO} times their size: \
                 unpack it and pass the directory",
                self.read.get(),
                FREE >> 20
            )));
        }
        Ok(read)
    }
}

/// Adds the remedy to libzstd's error for a window that is too large. libzstd returns errors only as text.
fn with_remedy(error: io::Error) -> io::Error {
    if error.to_string().contains("too much memory") {
        return io::Error::other(format!(
            "Zstandard with a window of more than {} MiB: unpack it and pass the directory",
            (1_u64 << WINDOW) >> 20
        ));
    }
    error
}
