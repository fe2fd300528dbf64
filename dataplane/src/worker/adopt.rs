//! Connections of a predecessor, taken in by the worker that owns them now. Cold: a page in a turn,
//! at the start of a switch.

use super::Path;
use crate::connection::Adoptions;

impl<P, M> Path<P, M> {
    /// Takes in a page of connections and translations.
    #[cold]
    pub(super) fn adopt(&mut self, page: &mut Adoptions) {
        for at in 0..Adoptions::CAPACITY {
            let Some(row) = page.rows().get(at).copied() else { break };
            let became = match row.back() {
                Some(back) => self.translations.adopt(&row, &back, self.now),
                None => self.connections.adopt(&row, self.now).map(drop),
            };
            page.note(became);
        }
    }
}
