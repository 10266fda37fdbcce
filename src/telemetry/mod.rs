//! stub until merge
/// m
#[derive(Debug, Clone, Default)]
pub struct Metrics;
impl Metrics {
    /// c
    pub fn commit(&self, _n: usize, _d: std::time::Duration) {}
    /// s
    pub fn store_free_bytes(&self, _n: u64) {}
    /// r
    pub fn refused(&self, _c: crate::protocol::ErrorCode) {}
    /// a
    pub fn accepted(&self, _o: crate::envelope::Origin) {}
}
