//! A store that was closed.

use federated_store::{ReadError, WriteError};

use crate::backend::{Backend, Needs};
use crate::common::{put, write};

pub async fn after_closing_nothing_is_accepted<B: Backend>() {
    let mut backend = B::start(Needs::Use).await;
    let place = backend.places() - 1;
    let store = backend.store(place);
    write(&store, "a", "1").await;
    backend.close(place).await;
    let refused = store.txn(None, vec![], vec![put("a", "2")]).await;
    assert!(matches!(refused, Err(WriteError::NotApplied { .. })), "{refused:?}");
    assert_eq!(store.get("a").await, Err(ReadError::Closed));
    assert_eq!(store.range("", None, 1).await, Err(ReadError::Closed));
    assert_eq!(store.leadership().borrow().leader, None);
    backend.end().await;
}
