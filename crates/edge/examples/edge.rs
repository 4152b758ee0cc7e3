//! An edge and nothing else, to be measured: `edge DATA_DIR WORKERS HTTP PEER`.
//!
//! It runs what `temps edge` runs, and takes minutes less to build with all optimisations, as it has no database.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use temps_edge::{EdgeConfig, Limits, Listen};

/// As in `temps`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [directory, workers, http, peer] = words.as_slice() else {
        return Err("usage: edge DATA_DIR WORKERS HTTP PEER".into());
    };
    // It can only be installed already by us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let data_dir = PathBuf::from(directory);
    temps_edge::run(EdgeConfig {
        socket: EdgeConfig::socket_in(&data_dir),
        identity: data_dir.join("identity"),
        http: vec![Listen::At(http.parse()?)],
        https: vec![],
        peer: Listen::At(peer.parse()?),
        workers: workers.parse()?,
        takeover: None,
        // All load comes from one address.
        limits: Limits { per_address: usize::MAX, ..Limits::default() },
        mark: 0,
        trusted: Vec::new(),
        proxy_protocol: Vec::new(),
        access_log: None,
        data_dir,
    })?;
    Ok(())
}
