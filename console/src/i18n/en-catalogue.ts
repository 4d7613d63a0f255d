import type { Catalogue } from ".";

/** Words of the engine in which people would not say it. Titles, helps and remedies come from the hub in English already. */
export const catalogue: Catalogue = {
  settings: {},
  causes: {},
  refusals: {},
  phrases: {
    missing: "Missing at the destination",
    size: "Another size",
    etag: "Another ETag",
    newer: "Newer at the source",
    mtime: "Another time",
    checksum: "Another checksum",
    uncompared: "Not compared",
    extra: "Only at the destination",
    equal: "Equal",
    archived: "Archived",
    digest: "Another digest",
    referrer: "A referrer is missing",
    differs: "Different",
    unreadable: "Could not be read",
    copy: "Copy it",
    delete: "Delete it",
    nothing: "Do nothing",
    unknown: "Not known",
  },
};
