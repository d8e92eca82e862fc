# CAE's ablation: ids of a d-VAE that was trained on the same images without labels (table 8).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(target=dict(checkpoint='data/tokenizers/dvae.safetensors'))))
