//! Features as they are named on a command line.
#![allow(unreachable_pub, reason = "a module of several programs, reachable in each of them")]

use arcp_proto::{Feature, FeatureSet};

/// `none`, `all`, or names with commas between them.
pub fn parse(list: &str) -> Result<FeatureSet, String> {
    match list {
        "none" => Ok(FeatureSet::none()),
        "all" => Ok(FeatureSet::all()),
        names => names.split(',').map(str::trim).try_fold(FeatureSet::none(), |set, name| {
            let feature = Feature::from_name(name).ok_or_else(|| {
                let known: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
                format!("there is no feature `{name}`; there are: none, all, {}", known.join(", "))
            })?;
            Ok(set.with(feature))
        }),
    }
}
