//! Checks the assembly of tensors against the streams in proto/vectors.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::pb::{RunResponse, run_response::Event};
use crate::tensors::{Assembler, BrokenStream};

/// Prints each stream's lines; an error if one differs from what its .txt file says.
pub fn check(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut streams = Vec::<PathBuf>::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            streams.push(path);
        }
    }
    streams.sort();
    for stream in &streams {
        let mut lines = String::new();
        if let Err(how) = assemble(&fs::read(stream)?, &mut lines)? {
            eprintln!("{how}");
            lines += "broken\n";
        }
        let name = stream.file_stem().unwrap_or_default().to_string_lossy();
        print!("stream {name}\n{lines}");
        if lines != fs::read_to_string(stream.with_extension("txt"))? {
            return Err(
                format!("{}: this is not what the .txt file says", stream.display()).into(),
            );
        }
    }
    if streams.is_empty() {
        return Err(format!("{}: there are no streams", folder.display()).into());
    }
    println!("{} streams agree", streams.len());
    Ok(())
}

/// Appends the lines of a stream of messages that each follow their length. The outer error is of
/// messages that cannot be read, the inner one of tensors that cannot be assembled.
fn assemble(
    mut data: &[u8],
    lines: &mut String,
) -> Result<Result<(), BrokenStream>, prost::DecodeError> {
    let mut assembler = Assembler::default();
    while !data.is_empty() {
        let response = RunResponse::decode_length_delimited(&mut data)?;
        if let Some(Event::TensorChunk(chunk)) = response.event {
            match assembler.add(chunk) {
                Ok(Some(line)) => *lines += &(line + "\n"),
                Ok(None) => {}
                Err(broken) => return Ok(Err(broken)),
            }
        }
    }
    Ok(assembler.finish())
}
