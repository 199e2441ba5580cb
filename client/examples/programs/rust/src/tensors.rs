//! Puts the tensors of a response stream together.

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::pb::{DataType, TensorChunk, TensorHeader};

/// The chunks do not follow the contract.
#[derive(Debug)]
pub struct BrokenStream(String);

impl std::fmt::Display for BrokenStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BrokenStream {}

fn broken<T>(how: String) -> Result<T, BrokenStream> {
    Err(BrokenStream(how))
}

struct Open {
    header: TensorHeader,
    chunks: usize,
    data: Vec<u8>,
}

/// Takes chunks in the order in which they come.
#[derive(Default)]
pub struct Assembler {
    begun: u32, // Tensors, complete or not.
    open: Option<Open>,
}

impl Assembler {
    /// Returns the tensor's line when it is complete.
    pub fn add(&mut self, mut chunk: TensorChunk) -> Result<Option<String>, BrokenStream> {
        if let Some(header) = chunk.header.take() {
            self.begin(header)?;
        }
        let open = match &mut self.open {
            Some(open) if open.header.tensor_id == chunk.tensor_id => open,
            _ => {
                return broken(format!(
                    "a chunk of tensor {}, which has not begun",
                    chunk.tensor_id
                ));
            }
        };
        let (size, total) = (open.data.len() as u64, open.header.size_bytes);
        if chunk.offset != size {
            return broken(format!("a chunk at byte {}, not at {size}", chunk.offset));
        }
        // Grows with what has arrived, not with what a header promises.
        open.data.extend_from_slice(&chunk.data);
        open.chunks += 1;
        match size + chunk.data.len() as u64 {
            size if size > total => broken(format!("more data than {total} bytes")),
            size if size < total => Ok(None),
            _ => Ok(self.open.take().map(|open| open.describe())),
        }
    }

    pub fn finish(&self) -> Result<(), BrokenStream> {
        match &self.open {
            Some(open) => broken(format!(
                "the stream ended inside tensor {}",
                open.header.tensor_id
            )),
            None => Ok(()),
        }
    }

    fn begin(&mut self, header: TensorHeader) -> Result<(), BrokenStream> {
        if self.open.is_some() || header.tensor_id != self.begun {
            return broken(format!(
                "tensor {} begins where it must not",
                header.tensor_id
            ));
        }
        let Ok(dtype) = DataType::try_from(header.dtype) else {
            return broken(format!(
                "an element type that is not known: {}",
                header.dtype
            ));
        };
        let size = header
            .shape
            .iter()
            .fold(element_bytes(dtype), |size, &length| {
                size.saturating_mul(u64::try_from(length).unwrap_or(0))
            });
        if size == 0 || size != header.size_bytes {
            let said = header.size_bytes;
            return broken(format!("{said} bytes, where type and shape make {size}"));
        }
        self.begun += 1;
        self.open = Some(Open {
            header,
            chunks: 0,
            data: Vec::new(),
        });
        Ok(())
    }
}

fn element_bytes(dtype: DataType) -> u64 {
    match dtype {
        DataType::Unspecified | DataType::Float32 => 4,
        DataType::Float16 | DataType::Bfloat16 => 2,
    }
}

impl Open {
    fn decode(&self) -> Vec<f32> {
        match self.header.dtype() {
            DataType::Unspecified | DataType::Float32 => elements(&self.data, f32::from_le_bytes),
            DataType::Float16 => elements(&self.data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            DataType::Bfloat16 => elements(&self.data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
    }

    fn describe(&self) -> String {
        let header = &self.header;
        let run = if header.clean { "clean" } else { "edited" };
        let dtype = match header.dtype() {
            DataType::Unspecified => DataType::Float32,
            dtype => dtype,
        };
        let dtype = dtype
            .as_str_name()
            .trim_start_matches("DATA_TYPE_")
            .to_lowercase();
        let shape: Vec<String> = header.shape.iter().map(i64::to_string).collect();
        let mut digest = Sha256::new();
        for value in self.decode() {
            digest.update(value.to_le_bytes());
        }
        let (name, shape, chunks) = (&header.name, shape.join("x"), self.chunks);
        let digest = digest.finalize();
        format!("tensor {name} {run} {dtype} {shape} chunks {chunks} sha256 {digest:x}")
    }
}

fn elements<const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let bytes = data
        .chunks_exact(N)
        .map(|element| element.try_into().expect("N bytes"));
    bytes.map(decode).collect()
}
