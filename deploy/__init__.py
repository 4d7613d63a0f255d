"""The CloudFormation templates of dth: one for objects (S3Plugin), one for images (EcrPlugin)."""
