"""What is reached over HTTP: the server of runs (`genloom serve`) and the studio's pages; safe by default."""
