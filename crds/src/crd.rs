//! The custom resource definitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{ClusterScopeRollout, MemberCluster, RolloutAction, RolloutAssignment};

/// All definitions with the name of the file that each is printed to: first those of the hub, last that of
/// the members.
pub fn all() -> [(&'static str, CustomResourceDefinition); 4] {
    [
        ("clusterscoperollouts.yaml", ClusterScopeRollout::crd()),
        ("memberclusters.yaml", MemberCluster::crd()),
        ("rolloutactions.yaml", RolloutAction::crd()),
        ("rolloutassignments.yaml", RolloutAssignment::crd()),
    ]
}
