//! wanted
