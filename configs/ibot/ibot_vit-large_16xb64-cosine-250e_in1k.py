# iBOT, ViT-L, 250 epochs with block masks; published kNN 78.0, linear 81.0, fine-tuned 84.8.
_base_ = './ibot_vit-base_16xb64-cosine-400e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='large'), drop_path=0.4))
train_cfg = dict(max_epochs=250)
