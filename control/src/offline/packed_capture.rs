//! Opens captures that are packed by gzip or zstd, as well as those that are not: the first bytes tell.
//!
//! They are unpacked as they are read, in bounded memory: 32 KiB of what was read last for gzip, and for zstd the window that
//! the file asks for, 100 MiB at most.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use guideway_engine::capture::CaptureReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// First bytes of a gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First bytes of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// zstd frame of no bytes.
const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// Bytes that are unpacked at once.
const CHUNK: usize = 64 << 10;

/// Capture whose bytes come from anywhere.
pub type AnyCapture = CaptureReader<Box<dyn Read + Send>>;

/// Bytes of a source, unpacked if they are packed.
///
/// # Errors
/// Where the first bytes cannot be read.
pub fn unpacked(source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut source = BufReader::new(source);
    // A pipe may bring fewer bytes at first than tell the format.
    let mut first = Vec::new();
    (&mut source).take(ZSTD.len() as u64).read_to_end(&mut first)?;
    let source = BufReader::with_capacity(CHUNK, io::Cursor::new(first.clone()).chain(source));
    Ok(match &first[..] {
        bytes if bytes.starts_with(&GZIP) => Box::new(MultiGzDecoder::new(source)),
        bytes if *bytes == ZSTD => Box::new(ZstdFrames::new(source)),
        _ => Box::new(source),
    })
}

/// Content of zstd frames, one after the other.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        // The decoder looks at the window of every frame but the first.
        decoder.reset(&EMPTY_FRAME[..]).expect("it is a frame");
        Self { source, decoder, is_in_frame: false }
    }

    /// Begins the next frame; false at the end of the source. Frames that are to be skipped are.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok(false)
    }

    /// Ends a frame, whose checksum must be that of its content if it has one.
    fn end(&mut self) -> io::Result<()> {
        self.is_in_frame = false;
        let (said, found) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        match said {
            Some(_) if said != found => Err(damaged(&"the checksum of a frame is wrong")),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                self.is_in_frame = self.begin()?;
                if !self.is_in_frame {
                    return Ok(0);
                }
            }
            let decoder = &mut self.decoder;
            while decoder.can_collect() == 0 && !decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(CHUNK);
                decoder.decode_blocks(&mut self.source, some).map_err(|error| refused(&error))?;
            }
            match decoder.read(bytes)? {
                0 if bytes.is_empty() => return Ok(0),
                0 => self.end()?,
                read => return Ok(read),
            }
        }
    }
}

fn damaged(error: &impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("packed by zstd, and damaged: {error}"))
}

fn refused(error: &FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::WindowSizeTooBig { requested } => {
            let mebibytes = requested >> 20;
            let text = format!(
                "packed by zstd with a window of {mebibytes} MiB, and 100 are the most: pack it without `--long`"
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        }
        error if ends_early(error) => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "packed by zstd, and ends early")
        }
        error => damaged(error),
    }
}

/// True if the source of an error is the end of the file.
fn ends_early(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    error.downcast_ref().is_some_and(is_end) || error.source().is_some_and(ends_early)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory is there");
        encoder.finish().expect("memory is there")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        unpacked(io::Cursor::new(bytes))?.read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn packed_bytes_come_out_as_they_went_in() {
        let bytes: Vec<u8> = (0..500_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let (first, second) = bytes.split_at(123_456);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"rem"].concat();
        for (form, packed) in [
            ("plain", bytes.clone()),
            ("gzip", gzip(&bytes)),
            ("gzip, two members", [gzip(first), gzip(second)].concat()),
            ("zstd", zstd(&bytes)),
            ("zstd, two frames and one that is skipped", [zstd(first), skipped, zstd(second)].concat()),
        ] {
            assert!(read(packed).expect("it is whole") == bytes, "{form}");
        }
        assert_eq!(read(Vec::new()).expect("nothing is whole"), b"");
        assert_eq!(read(b"\x1f".to_vec()).expect("a byte is a byte"), b"\x1f");
    }

    #[test]
    fn what_ends_early_or_is_damaged_is_an_error() {
        let bytes = vec![7; 100_000];
        for packed in [gzip(&bytes), zstd(&bytes)] {
            let mut cut = packed.clone();
            cut.truncate(packed.len() - 3);
            assert!(read(cut).is_err());
        }
        let numbers: Vec<u8> = (0..50_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let mut cut = zstd(&numbers);
        cut.truncate(cut.len() / 2);
        let error = read(cut).map(|bytes| bytes.len()).expect_err("it is cut");
        assert_eq!(error.to_string(), "packed by zstd, and ends early");
        // A window of 2 GiB, which the first frame asks for.
        let large = [&ZSTD[..], &[0, 21 << 3, 1, 0, 0]].concat();
        let error = read(large).map(|bytes| bytes.len()).expect_err("nobody has so much memory").to_string();
        assert!(
            error.starts_with("packed by zstd with a window of 2048 MiB, and 100 are the most"),
            "{error}"
        );
        assert!(read([&ZSTD[..], &[0xff; 20]].concat()).is_err());
    }
}
