//! What a block takes from the block around it, where that is not each setting as a whole.

use super::setting::joined;
use super::{MemcachedSettings, Settings};

impl Settings {
    /// These settings with what they leave open taken from `outer`. Those of headers-more do not
    /// hide what the outer block says: they follow it.
    #[must_use]
    pub fn inherit(&self, outer: &Settings) -> Settings {
        let mut settings = self.inherit_whole(outer);
        if self.root.is_some() {
            settings.alias = self.alias;
        }
        settings.memc = MemcachedSettings::inherited(&self.memc, &outer.memc);
        settings.memcached = MemcachedSettings::inherited(&self.memcached, &outer.memcached);
        settings.more_headers = joined(&outer.more_headers, &self.more_headers);
        settings.more_input_headers = joined(&outer.more_input_headers, &self.more_input_headers);
        settings
    }
}
