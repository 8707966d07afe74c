"""One Django page with a form that is guarded by the framework's own CSRF and
origin checks.  usage: django_form.py runserver 127.0.0.1:PORT --noreload"""

import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import path


def origin_check(get_response):
    """What Django's CSRF check does from version 4 on: an Origin that is not
    the request's own is refused."""
    def check(request):
        origin = request.META.get("HTTP_ORIGIN")
        own = "%s://%s" % (request.scheme, request.get_host())
        if request.method == "POST" and origin and origin != own:
            return HttpResponse("Origin checking failed: %s does not match %s"
                                % (origin, own), status=403)
        return get_response(request)
    return check


settings.configure(
    DEBUG=False,
    SECRET_KEY="only for this test",
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=(
        ([__name__ + ".origin_check"] if django.VERSION < (4,) else [])
        + ["django.middleware.csrf.CsrfViewMiddleware"]),
)

seen = []


def form(request):
    if request.method == "POST":
        seen.append(request.POST["word"])
        return HttpResponseRedirect(request.build_absolute_uri("/done"))
    return HttpResponse(
        '<form method="post" action="/"><input type="hidden" '
        'name="csrfmiddlewaretoken" value="%s"><input name="word">'
        "<button>Send</button></form>" % get_token(request))


def done(request):
    return HttpResponse("got: " + ",".join(seen))


urlpatterns = [path("", form), path("done", done)]

execute_from_command_line(sys.argv)
