require "openssl"

def genuine?(body, signature, secret)
  OpenSSL.secure_compare("sha256=" + OpenSSL::HMAC.hexdigest("SHA256", secret, body), signature)
end
