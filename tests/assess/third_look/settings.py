INSTALLED_APPS = ["lessons"]
ROOT_URLCONF = "urls"
