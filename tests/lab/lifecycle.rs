//! Cases to come.
use super::Case;
pub(crate) const CASES: &[Case] = &[];
