"""Pictures -> embeddings by a trained model.

from reid_train.embed import load_model

model = load_model("results/sample/best")
embedding_ND = model.embed(["a.jpg", "b.jpg"])  # unit length: the product of two is their cosine similarity
"""

from reid_train.inference.embedder import Embedder, Picture, embed_cached, load_model

__all__ = ["Embedder", "Picture", "embed_cached", "load_model"]
