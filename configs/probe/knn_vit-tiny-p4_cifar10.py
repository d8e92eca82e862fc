# Nearest neighbours on CIFAR-10 for ViT-Ti/4: tools/knn.py THIS CHECKPOINT --linear
data_root = 'data/'
whole = dict(type='MultiView', views=[dict(transforms=[])])
pipeline = [dict(type='LoadImage'), whole, dict(type='PackViews')]

encoder = dict(type='ViT', arch=dict(base='tiny'), image_size=32, patch_size=4, position='learned')
data_preprocessor = dict(
    type='ViewPreprocessor', mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262))
readout = 'mean'
bank = dict(type='PackedImages', file=data_root + 'cifar10_train.npz', pipeline=pipeline)
queries = dict(type='PackedImages', file=data_root + 'cifar10_test.npz', pipeline=pipeline)
