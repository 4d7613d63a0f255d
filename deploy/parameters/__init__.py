"""The parameters of the templates, as data: names, defaults and allowed values are those of Data Transfer Hub's guide.

`s3.json` and `ecr.json` hold a list of groups in the order of the console's form. `deviations.json` says where the guide and
the templates differ, and why; tests compare both.
"""
