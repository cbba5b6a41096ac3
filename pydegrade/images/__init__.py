"""Functions of whole images outside a chain: MATLAB's imresize, scores, subsampling by a kernel, its estimate."""
