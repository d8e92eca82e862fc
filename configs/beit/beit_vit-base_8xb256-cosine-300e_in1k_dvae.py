# BEiT with the ids of a tokenizer that was trained on the same images: no download.
_base_ = './beit_vit-base_8xb256-cosine-300e_in1k.py'
model = dict(tasks=dict(masked=dict(target=dict(checkpoint='data/tokenizers/dvae.safetensors'))))
