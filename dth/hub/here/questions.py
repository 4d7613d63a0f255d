"""What a check asks a store, as people would ask it."""

from __future__ import annotations

QUESTIONS = {
    "reach": "Does the store answer?",
    "list": "Can objects be listed?",
    "get": "Can objects be read?",
    "put": "Can objects be written?",
    "multipart": "Can large objects be written in parts?",
    "delete": "Can objects be deleted?",
    "list_other_version": "Does the other version of the listing say the same?",
    "other_addressing": "Does the other addressing style work?",
    "list_uploads": "Can unfinished uploads be listed?",
    "ordered": "Are listings in byte order?",
    "start_after": "Can a listing begin after a key?",
    "range": "Can a part of an object be read?",
    "if_match": "Are conditional reads respected?",
    "head": "Can an object's metadata be read?",
    "get_tags": "Can tags be read?",
    "md5_etag": "Is a single object's ETag its MD5?",
    "content_md5_verified": "Is Content-MD5 verified?",
    "crc64nvme_verified": "Is CRC64NVME verified?",
    "crc32c_verified": "Is CRC32C verified?",
    "crc32_verified": "Is CRC32 verified?",
    "unsigned_payload": "Are streams without a signed hash accepted?",
    "conditional_put": "Can a write be refused where the object exists?",
    "multipart_etag": "Is the ETag of a multipart object that of its parts?",
    "list_parts": "Can the parts of an upload be listed?",
    "abort_upload": "Can uploads be aborted?",
    "server_side_copy": "Can the store copy objects itself?",
    "copy_if_match": "Are conditional copies respected?",
    "copies_parts": "Can the store copy parts itself?",
    "keeps_empty_segments": "Does a key keep two slashes in a row?",
    "tags": "Are tags kept?",
    "uploads_keep_tags": "Does a multipart upload keep tags?",
    "conditional_delete": "Are conditional deletes respected?",
}
"""By the names of `dth probe`; `reach` stands for a store that could not be asked at all."""
