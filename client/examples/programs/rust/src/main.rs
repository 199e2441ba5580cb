//! Scalpel from Rust: statistics and tensors of a run, a refused request, a deadline, a cancel.

mod tensors;
mod vectors;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use pb::intervention_service_client::InterventionServiceClient;
use pb::{RunRequest, RunResponse, run_response::Event};
use tensors::Assembler;

/// What build.rs makes from proto/.
pub mod pb {
    tonic::include_proto!("scalpel.v1");
}

type Client = InterventionServiceClient<Channel>;

const TEXT: &str = "When Mary and John went to the store, John gave a drink to";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["check-vectors", folder] => vectors::check(Path::new(folder)),
        [address] => talk(address).await,
        _ => talk("127.0.0.1:50051").await,
    };
    if let Err(error) = result {
        let cause = error
            .source()
            .map_or(String::new(), |source| format!(": {source}"));
        eprintln!("{error}{cause}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn talk(address: &str) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::new(format!("http://{address}"))?
        .connect()
        .await?;
    let mut client = Client::new(channel);
    run(&mut client).await?;
    refused(&mut client).await?;
    deadline(&mut client).await?;
    cancel(&mut client).await
}

/// Block 9 scaled by 0.1, beside the clean run; statistics, and an attention pattern.
fn make_request(prompts: usize) -> RunRequest {
    let text = vec![TEXT; 16].join(" ");
    let prompt = pb::Prompt {
        content: Some(pb::prompt::Content::Text(text)),
    };
    RunRequest {
        prompts: vec![prompt; prompts],
        interventions: vec![scale("blocks.9.hook_resid_post", &[], Some(0.1))],
        probes: vec![pb::Probe {
            place: Some(place("resid_post", &[])),
            statistics: vec![pb::Statistic::Std.into()],
            ..Default::default()
        }],
        captures: vec![pb::Capture {
            place: Some(place("blocks.10.attn.hook_pattern", &[])),
            ..Default::default()
        }],
        logits: Some(pb::LogitsRequest {
            form: Some(pb::logits_request::Form::None(pb::NoLogits {})),
            ..Default::default()
        }),
        include_clean_run: true,
        ..Default::default()
    }
}

/// A request of seconds: the medians of the attention patterns of 32 prompts.
fn slow_request() -> RunRequest {
    let mut request = make_request(32);
    request.probes.push(pb::Probe {
        place: Some(place("pattern", &[])),
        quantiles: vec![0.5],
        ..Default::default()
    });
    request
}

fn place(path: &str, layers: &[i32]) -> pb::Place {
    let selection = pb::Selection {
        layers: layers.to_vec(),
        ..Default::default()
    };
    pb::Place {
        path: path.to_owned(),
        r#where: (!layers.is_empty()).then_some(selection),
        ..Default::default()
    }
}

fn scale(path: &str, layers: &[i32], factor: Option<f64>) -> pb::Intervention {
    pb::Intervention {
        place: Some(place(path, layers)),
        operation: Some(pb::intervention::Operation::Scale(pb::Scale { factor })),
        ..Default::default()
    }
}

/// Events arrive while later layers still compute.
async fn run(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let mut assembler = Assembler::default();
    let mut stream = client.run(make_request(1)).await?.into_inner();
    while let Some(RunResponse { event }) = stream.message().await? {
        match event {
            Some(Event::Started(started)) => {
                println!("started {} tokens", started.prompts[0].ids.len());
            }
            Some(Event::LayerStatistics(layer)) => print_statistics(&layer),
            Some(Event::TensorChunk(chunk)) => {
                if let Some(line) = assembler.add(chunk)? {
                    println!("{line}");
                }
            }
            _ => {}
        }
    }
    Ok(assembler.finish()?)
}

fn print_statistics(layer: &pb::LayerStatistics) {
    let (mut clean, mut edited) = (f64::NAN, f64::NAN);
    for result in &layer.results {
        let std = result.statistics[0].values[0];
        if result.clean {
            clean = std;
        } else {
            edited = std;
        }
    }
    println!(
        "layer {} std clean {clean:.4} edited {edited:.4}",
        layer.layer()
    );
}

/// A wrong request is answered with every violation at once.
async fn refused(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let request = RunRequest {
        interventions: vec![scale("resid_post", &[1000], None)],
        ..make_request(1)
    };
    let refusal = error_of(client, Request::new(request)).await?;
    println!("refused {}", name_of(refusal.code()));
    let bad_request = refusal.get_details_bad_request();
    for violation in bad_request.map_or_else(Vec::new, |bad| bad.field_violations) {
        println!("violation {}: {}", violation.field, violation.description);
    }
    Ok(())
}

async fn deadline(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let mut request = Request::new(slow_request());
    request.set_timeout(Duration::from_millis(200));
    let end = error_of(client, request).await?;
    println!("deadline {}", name_of(end.code()));
    Ok(())
}

async fn cancel(client: &mut Client) -> Result<(), Box<dyn Error>> {
    let mut stream = client.run(slow_request()).await?.into_inner();
    let first = stream.message().await?;
    drop(stream); // This is what cancels; no status comes back.
    match first.and_then(|response| response.event) {
        Some(Event::Started(_)) => println!("cancelled after started"),
        other => return Err(format!("the first event is another one: {other:?}").into()),
    }
    Ok(())
}

/// Reads a stream to its end, which must be an error, and returns that.
async fn error_of(
    client: &mut Client,
    request: Request<RunRequest>,
) -> Result<Status, Box<dyn Error>> {
    let mut stream = match client.run(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(status),
    };
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("the run was complete".into()),
            Err(status) => return Ok(status),
        }
    }
}

fn name_of(code: Code) -> String {
    let camel = format!("{code:?}"); // Such as DeadlineExceeded.
    let mut name = String::new();
    for (i, letter) in camel.char_indices() {
        if i > 0 && letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
