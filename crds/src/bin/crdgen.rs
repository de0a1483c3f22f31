//! Prints the custom resource definitions: `crdgen DIR` writes one file each, `crdgen --check DIR` compares
//! and fails when a file is stale.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HEADER: &str = "# Generated from the types in crds/src by `make fix`; edits here are lost.\n";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.first().is_some_and(|first| first == "--check");
    if check {
        arguments.remove(0);
    }
    let [folder] = arguments.as_slice() else {
        eprintln!("usage: crdgen [--check] DIR");
        return ExitCode::from(2);
    };
    match run(Path::new(folder), check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("crdgen: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, check: bool) -> Result<(), String> {
    let mut stale = Vec::new();
    for (file, definition) in crds::custom_resource_definitions() {
        let path: PathBuf = folder.join(file);
        let body = crds::yaml::to_string(&definition).map_err(|error| format!("failed to print {file}: {error}"))?;
        let text = format!("{HEADER}{body}");
        if check {
            if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                stale.push(path.display().to_string());
            }
        } else {
            std::fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))?;
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(format!("stale, run `make fix`: {}", stale.join(", "))) }
}
