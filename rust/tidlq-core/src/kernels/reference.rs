//! Plain versions.
