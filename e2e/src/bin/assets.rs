//! Builds the programs of control planes and metrics ahead of time, for `make` and CI, and prints where they are.

use std::process::ExitCode;

use anyhow::Result;
use e2e::assets::{Assets, Program};
use e2e::progress::Progress;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    e2e::exit(run().await)
}

async fn run() -> Result<ExitCode> {
    let assets = Assets::ensure(&Program::ALL, &Progress::stderr()).await?;
    for program in Program::ALL {
        println!("{}", assets.path(program).display());
    }
    Ok(ExitCode::SUCCESS)
}
