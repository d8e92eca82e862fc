# Linear probe of the multi-task ViT-S: its contrastive token, for contrast and tasks on patches.
_base_ = './linear-mtssl_vit-small_8xb128-cosine-90e_in1k.py'
model = dict(encoder=dict(prefix_tokens=('contrast', )), readout='token:contrast')
