# Nearest neighbours on ImageNet (DINO's protocol), ViT-S: tools/knn.py THIS CHECKPOINT
data_root = 'data/imagenet/'
view = [dict(type='Resize', of_image=8 / 7, interpolation='bicubic'), dict(type='CenterCrop')]
views = dict(type='MultiView', views=[dict(transforms=view)])
pipeline = [dict(type='LoadImage'), views, dict(type='PackViews')]
encoder = dict(
    type='ViT', arch=dict(base='small'), image_size=224, patch_size=16, position='learned')
readout = 'cls'
workers = 8
bank = dict(type='LabelledFolder', root=data_root + 'train', pipeline=pipeline)
queries = dict(type='LabelledFolder', root=data_root + 'val', pipeline=pipeline)
