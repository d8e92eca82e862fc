# Linear probe of the multi-task ViT, ViT-S: the mean of its patches, for tasks on patches alone.
_base_ = './linear-mtssl_vit-small_8xb128-cosine-90e_in1k.py'
model = dict(encoder=dict(prefix_tokens=()), readout='mean')
