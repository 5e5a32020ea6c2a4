"""The public sets that people have, one module each: folder in, manifest out."""
