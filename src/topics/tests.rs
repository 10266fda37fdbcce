//! Topics over real stores.
