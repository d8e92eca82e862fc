# SimMIM, Swin-B at 192 pixels; published fine-tuned top-1 84.0 at 224 pixels after 800 epochs. The
# schedule is that of 100 epochs.
_base_ = './simmim_swin-base_16xb128-cosine-100e_in1k-192px.py'

train_cfg = dict(max_epochs=800)
