"""From image files to batches: decoding, the cache of decoded pixels, augmentation, sampling."""
