"""How good embeddings are: retrieval metrics, re-ranking, intervals."""
