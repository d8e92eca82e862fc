# Multi-task ViT with weights from gradients (MGDA-UB).
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(balancer=dict(type='ParetoWeights'))
