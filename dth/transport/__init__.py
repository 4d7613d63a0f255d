"""HTTP/1.1, spoken by dth itself: pooled, streaming, sceptical of what it is told."""
