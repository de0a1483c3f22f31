//! Opening the store that the configuration names: a replica of our own, or an etcd.

use std::path::{Path, PathBuf};

use axum::Router;
use federated_store::{EtcdConfig, EtcdTls, EtcdUser, OpenError, Store, Tuning};

use crate::config::{Config, Etcd};

/// Why the store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or password can't be read.
    #[error("failed to read '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store itself refuses.
    #[error("failed to open the store")]
    Open(#[from] OpenError),
}

/// Opens it. The router has the routes by which replicas of our own reach each other; an etcd needs none.
pub async fn open(config: &Config, client: reqwest::Client) -> Result<(Store, Router), Error> {
    match &config.store.etcd {
        None => {
            let tuning = Tuning { state: config.store.state.engine(), ..Tuning::default() };
            Ok(Store::open_with(embedded(config, client), tuning).await?)
        }
        Some(etcd) => Ok((Store::open_etcd(etcd_config(config, etcd)?).await?, Router::new())),
    }
}

fn embedded(config: &Config, client: reqwest::Client) -> federated_store::Config {
    federated_store::Config {
        cluster: config.store.cluster.clone(),
        id: config.id.clone(),
        data_dir: config.data_dir.clone(),
        replicas: config.store.replicas.clone(),
        join: config.store.join,
        client: Some(client),
        tick: federated_store::Config::TICK,
    }
}

fn etcd_config(config: &Config, etcd: &Etcd) -> Result<EtcdConfig, Error> {
    let Etcd { endpoints, prefix, tls, user } = etcd;
    let tls = match tls {
        None => None,
        Some(files) => {
            let identity = match &files.identity {
                None => None,
                Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            };
            Some(EtcdTls { authority: read(&files.authority)?, identity })
        }
    };
    let user = match user {
        None => None,
        Some((name, file)) => {
            // Files are mostly written with a line's end, which is no part of the password.
            let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\r', '\n']).to_owned();
            Some(EtcdUser { name: name.clone(), password })
        }
    };
    let own = config.store.replicas.iter().find(|replica| replica.id == config.id);
    Ok(EtcdConfig {
        cluster: config.store.cluster.clone(),
        id: config.id.clone(),
        // It is one of them, see `Config::parse`.
        url: own.map(|replica| replica.url.clone()).unwrap_or_default(),
        endpoints: endpoints.clone(),
        prefix: prefix.clone(),
        tls,
        user,
        lease: EtcdConfig::LEASE,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Stores of tests.
#[cfg(test)]
pub(crate) mod fixtures {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use federated_store::{Config, ReplicaConfig, Store};

    /// One replica, which leads.
    pub(crate) async fn leading(folder: &Path) -> Store {
        let config = Config {
            join: false,
            cluster: "test".to_owned(),
            id: "c".to_owned(),
            data_dir: folder.join("data"),
            replicas: vec![ReplicaConfig { id: "c".to_owned(), number: 1, url: "https://127.0.0.1:1".to_owned() }],
            client: None,
            tick: Config::TICK,
        };
        let (store, _router) = Store::open(config).await.unwrap();
        store.leadership().wait_for(|view| view.fence.is_some()).await.unwrap();
        store
    }
}
