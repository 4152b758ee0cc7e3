//! The binary: reads configuration, opens the parts, wires them, and stops them in order.

mod config;
mod dev;
mod server;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An edge allocates for each connection and request; see "The speed of the edge" in ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deploys without a failed request, on your own machines.
#[derive(Debug, Parser)]
#[command(name = "temps", version, propagate_version = true, infer_subcommands = false)]
struct Arguments {
    #[command(flatten)]
    globals: temps_cli::Globals,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Run a throwaway cluster on this machine, in one terminal.
    Dev(dev::DevArguments),
    /// Run a node of a cluster.
    Server(server::ServerArguments),
    /// The proxy of a node; started by its server.
    #[command(hide = true)]
    Edge(server::edge::EdgeArguments),
    /// The parent of one instance; started by the node's server.
    #[command(hide = true)]
    Supervise {
        /// Directory of the instance.
        directory: PathBuf,
    },
    #[command(flatten)]
    Cli(temps_cli::Words),
}

fn main() -> ExitCode {
    let Arguments { globals, word } = Arguments::parse();
    // One crypto provider for everything in this process. It can only be installed already by us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = match word {
        Word::Supervise { directory } => return temps_agent::supervise(&directory),
        Word::Edge(arguments) => server::edge::run(arguments),
        Word::Server(arguments) => server::main(arguments),
        Word::Dev(arguments) => dev::main(&arguments),
        Word::Cli(words) => return cli(words, globals),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "temps: {error:#}");
            let removed = error.downcast_ref::<server::Removed>().is_some();
            if removed { ExitCode::from(server::REMOVED_CODE) } else { ExitCode::FAILURE }
        }
    }
}

fn cli(words: temps_cli::Words, globals: temps_cli::Globals) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "temps: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let command = <Arguments as clap::CommandFactory>::command();
    runtime.block_on(temps_cli::run(words, globals, command))
}

/// Structured logs on stderr; `TEMPS_LOG` chooses what, as in `info,temps_edge=debug`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TEMPS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,openraft=warn"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
