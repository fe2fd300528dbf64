//! Numbers at offsets of a packet, read and written without a panic path. Hot path.

/// The `N` bytes at `offset`, where the packet has them.
#[inline]
pub(super) fn read<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Writes `value` at `offset`; writes nothing where the packet ends before.
#[inline]
pub(super) fn write<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
        *place = value;
    }
}
