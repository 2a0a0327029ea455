"""`python -m receiver.sandbox`: applies gevent's monkey patches, then runs `receiver.sandbox.process`."""

from gevent import monkey

monkey.patch_all()

if __name__ == "__main__":
    from receiver.sandbox.process import main

    main()
