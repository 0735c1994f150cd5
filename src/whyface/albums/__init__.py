"""Albums: the faces of a folder of photos, grouped into people."""
