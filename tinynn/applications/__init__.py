"""Networks that made history, as functions that build them: shapes and counts are those of their papers.

>>> from tinynn import applications
>>> applications.VGG16().count_params()
138357544

ResNet20 comes with weights: ``ResNet20(weights="cifar10")`` classifies 91.73 % of CIFAR-10's test images correctly.
"""

from tinynn.applications.alexnet import AlexNet
from tinynn.applications.lenet import LeNet5
from tinynn.applications.resnet import ResNet20, ResNet50
from tinynn.applications.vgg import VGG16, VGG19

__all__ = ["VGG16", "VGG19", "AlexNet", "LeNet5", "ResNet20", "ResNet50"]
