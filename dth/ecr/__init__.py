"""Images from registry to registry: references, manifests, the OCI distribution API, selection, copying."""
